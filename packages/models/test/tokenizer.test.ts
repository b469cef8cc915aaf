import { describe, expect, it } from 'vitest';
import { readGguf } from '../src/gguf/read.ts';
import { ggufTokenizer } from '../src/gguf/tokenizer.ts';
import { pathFiles } from '../src/node/files.ts';
import { fixture, readFixture } from './helpers.ts';

interface Case {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded: string;
}

describe.each(['gpt-2', 'smollm', 'llama-bpe', 'qwen2', 'llama'])('tokenizer of a GGUF file: %s', (name) => {
  const opened = (async () => {
    const files = await pathFiles(fixture(`gguf/tokenizer-${name}.gguf`));
    const { metadata } = await readGguf(await files.open(files.names[0]));
    await files.close();
    return ggufTokenizer('tokenizer', metadata)!;
  })();

  it.each(readFixture<Case[]>(`gguf/tokenizer-${name}.json`))(
    'encodes and decodes $text',
    async ({ text, ids, decoded }) => {
      const tokenizer = await opened;
      expect([...tokenizer.encode(text)]).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(decoded);
    },
  );
});
