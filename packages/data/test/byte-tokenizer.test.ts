import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteTokenizer, tokenizerFromJSON } from '../src/index.ts';
import { dataError } from './helpers.ts';

const text = fc.string({ unit: 'binary' });

describe('byteTokenizer', () => {
  it('has 256 ids, or 257 with one that frames documents', () => {
    expect(byteTokenizer()).toMatchObject({ vocabSize: 256 });
    expect(byteTokenizer().bosId).toBeUndefined();
    expect(byteTokenizer({ documentSeparator: true })).toMatchObject({ vocabSize: 257, bosId: 256, eosId: 256 });
    const [before, after] = (['before', 'after'] as const).map((where) => byteTokenizer({ documentSeparator: where }));
    expect([before.bosId, before.eosId, after.bosId, after.eosId]).toEqual([256, undefined, undefined, 256]);
    expect(new Set([false, true].map((both) => byteTokenizer({ documentSeparator: both }).fingerprint))).not.toContain(
      before.fingerprint,
    );
    expect(before.fingerprint).not.toBe(after.fingerprint);
    expect(tokenizerFromJSON(after.toJSON())).toMatchObject({ eosId: 256, addsBos: false });
  });

  it('encodes UTF-8', () => {
    expect([...byteTokenizer().encode('a\u00e9\u{1f40b}')]).toEqual([0x61, 0xc3, 0xa9, 0xf0, 0x9f, 0x90, 0x8b]);
  });

  it('decodes what it encodes, byte order marks too', () => {
    const tokenizer = byteTokenizer();
    expect(tokenizer.decode(tokenizer.encode('\ufeffa\ufeff'))).toBe('\ufeffa\ufeff');
    fc.assert(fc.property(text, (t) => tokenizer.decode(tokenizer.encode(t)) === t));
  });

  it('streams whole characters only, and all of them', () => {
    const tokenizer = byteTokenizer();
    fc.assert(
      fc.property(text, (t) => {
        const decoder = tokenizer.decoder();
        let shown = '';
        for (const id of tokenizer.encode(t)) {
          shown += decoder.push(id);
          expect(t.startsWith(shown)).toBe(true);
        }
        expect(shown).toBe(t);
        expect(decoder.flush()).toBe('');
      }),
    );
  });

  it('shows half a character as U+FFFD only when it can no longer become whole', () => {
    const decoder = byteTokenizer({ documentSeparator: true }).decoder();
    expect([0xf0, 0x9f].map((id) => decoder.push(id))).toEqual(['', '']);
    expect(decoder.push(0x41)).toBe('\ufffdA');
    expect(decoder.push(0xc3)).toBe('');
    expect(decoder.push(256)).toBe('\ufffd');
    expect(decoder.push(0xc3)).toBe('');
    expect(decoder.flush()).toBe('\ufffd');
    expect(decoder.push(0x42)).toBe('B');
  });

  it('gives no text for the separator', () => {
    expect(byteTokenizer({ documentSeparator: true }).decode([256, 0x41, 256])).toBe('A');
  });

  it.each([-1, 256, 1.5, Number.NaN])('refuses id %s', async (id) => {
    expect((await dataError('TOKENIZER', () => byteTokenizer().decode([id]))).message).toBe(
      `bytes: token id ${id} is outside the vocabulary of 256`,
    );
  });

  it('comes back from JSON', async () => {
    for (const documentSeparator of [false, true]) {
      const tokenizer = byteTokenizer({ documentSeparator });
      const again = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer)));
      expect(again.fingerprint).toBe(tokenizer.fingerprint);
      expect(again.vocabSize).toBe(tokenizer.vocabSize);
    }
    await dataError('TOKENIZER', () => tokenizerFromJSON({ kind: 'words' } as never));
    await dataError('TOKENIZER', () => tokenizerFromJSON(null as never));
  });
});
