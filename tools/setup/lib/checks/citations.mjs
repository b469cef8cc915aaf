/** As comments write it, spelt so that this file cites nothing. */
const MARK = 'spec \u00a7';

/** What may follow a heading's name: not a word that belongs to it. */
const END = /^$|^[^\p{L}\p{N}]/u;

/** The headings of the Markdown text `spec`. */
export function headingsOf(spec) {
  return [...spec.matchAll(/^#+ (.+)$/gm)].map(([, name]) => name.trim());
}

/** One sentence for each citation of a section (the word spec, a section sign, a name) that names no heading. */
export function deadCitations(files, headings) {
  const dead = [];
  for (const { path, text } of files) {
    for (const [line, content] of text.split('\n').entries()) {
      for (const cited of content.split(MARK).slice(1)) {
        // A name may go on in the next line of a comment; its first word is then enough.
        const found = headings.some(
          (heading) =>
            (cited.startsWith(heading) && END.test(cited.slice(heading.length))) ||
            (cited.length > 2 && heading.startsWith(`${cited.trimEnd()} `)),
        );
        if (!found)
          dead.push(`${path}:${line + 1} cites '${MARK}${cited.slice(0, 40)}', which is no heading of docs/spec.md`);
      }
    }
  }
  return dead;
}
