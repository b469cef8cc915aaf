// npm run record -w @lazy-attention/playground: trains the two models that the page opens with, on the native CPU backend, and
// writes public/record: the run (run.bin.gz), the trained weights in f16, and the letter pairs of Moby Dick.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { createBackend } from '@lazy-attention/core';
import { letterPairs, openCorpus } from '@lazy-attention/data';
import { encodeSafetensors } from '@lazy-attention/nn';
import { DEFAULTS } from '../build/engine/settings.js';
import { encodeRecord } from '../build/record/format.js';
import { recordRun } from '../build/record/record.js';

const out = fileURLToPath(new URL('../public/record/', import.meta.url));
mkdirSync(out, { recursive: true });
const steps = Number(process.argv[2] ?? DEFAULTS.steps);
const pairs = await letterPairs(await openCorpus('moby-dick'));
const settings = { ...DEFAULTS, steps };
const backend = await createBackend(process.argv[3] ?? 'cpu');
const files = { pairs: async () => pairs, book: () => Promise.reject(new Error('not read')) };
const record = await recordRun(backend, settings, files, console.log, async (sides) => {
  for (const { model, params } of sides) {
    const tensors = {};
    for (const [name, tensor] of Object.entries(params)) {
      tensors[name] = { dtype: 'f16', shape: tensor.shape, data: await tensor.data() };
    }
    const bytes = encodeSafetensors(tensors, { config: JSON.stringify(model.config) });
    writeFileSync(`${out}${model.config.attention}.safetensors`, bytes);
  }
});
await backend.dispose();
writeFileSync(`${out}run.bin.gz`, gzipSync(encodeRecord(record), { level: 9 }));
writeFileSync(`${out}pairs.json`, `${JSON.stringify({ counts: [...pairs.counts] })}\n`);
