/** Where the names of kinds may be told apart: the table itself. */
const TABLE = /^packages\/nn\/src\/attention\//;

/** The names in the table of attention kinds, from its sources { path, text }. */
export function kindNames(files) {
  return files
    .filter(({ path }) => TABLE.test(path))
    .flatMap(({ text }) => [...text.matchAll(/^ {2,4}name: '([a-z][a-z0-9-]*)',$/gm)].map(([, name]) => name));
}

/** One sentence for each comparison of something called kind or attention with the name of a kind: ask the table instead. */
export function comparedKinds(files, names) {
  const compares = new RegExp(`\\b(kind|attention|said|arm)\\b[^=!]{0,20}[=!]==? '(${names.join('|')})'`);
  const found = [];
  for (const { path, text } of files) {
    if (TABLE.test(path) || !/^(packages|apps)\//.test(path)) continue;
    for (const [line, content] of text.split('\n').entries()) {
      const [, , name] = compares.exec(content) ?? [];
      if (name === undefined || /\.(bias|tau|sink)\b/.test(content)) continue;
      found.push(`${path}:${line + 1} compares a kind of attention with '${name}'; ask attentionKind(name) what it is`);
    }
  }
  return found;
}
