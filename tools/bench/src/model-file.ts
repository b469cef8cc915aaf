import { join } from 'node:path';

const SMOLLM2 = 'SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf';

/** What `--model` says, else SmolLM2's GGUF in the folder that LAZY_ATTENTION_MODELS names. */
export function modelFile(given: string | undefined): string {
  const folder = process.env.LAZY_ATTENTION_MODELS;
  const file = given ?? (folder === undefined ? undefined : join(folder, SMOLLM2));
  if (file === undefined) throw new Error('no model: give --model FILE, or name the folder in LAZY_ATTENTION_MODELS');
  return file;
}
