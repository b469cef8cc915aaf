import { readFile } from 'node:fs/promises';
import type { Corpus } from '../corpus.ts';

/** Stands between the parts of the book in the file: no text has it. */
const BETWEEN = '\x1e';

/**
 * Herman Melville's Moby-Dick (public domain) as one document of 1.2 MB: the front matter, 135 chapters with their headings,
 * and the epilogue. The package has it as gzip, which Node and pages can both read.
 */
export function mobyDickCorpus(): Corpus {
  return {
    name: 'moby-dick',
    kind: 'text',
    singleDocument: true,
    async *pieces() {
      const compressed = new Blob([await readFile(new URL('../../book/moby-dick.txt.gz', import.meta.url))]);
      const decoder = new TextDecoder();
      let book = '';
      // Without Response, for which Node starts WebAssembly: that takes 10 GB of address space.
      for await (const bytes of compressed.stream().pipeThrough(new DecompressionStream('gzip'))) {
        book += decoder.decode(bytes, { stream: true });
      }
      for (const text of book.split(BETWEEN)) yield { text, last: false };
      yield { text: '', last: true };
    },
  };
}
