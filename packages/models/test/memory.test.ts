import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { encodeSafetensors } from '@lazy-attention/nn';
import { expect, it } from 'vitest';

const HIDDEN = 1024;
const INTERMEDIATE = 4096;
const VOCABULARY = 8192;
/** A layer is a shard of 34 MB: 0.2 GB in all; with 30 layers it is 1 GB. */
const LAYERS = Number(process.env.LAZY_ATTENTION_MEMORY_LAYERS ?? 6);

const LAYER: Readonly<Record<string, readonly number[]>> = {
  'input_layernorm.weight': [HIDDEN],
  'post_attention_layernorm.weight': [HIDDEN],
  'self_attn.q_proj.weight': [HIDDEN, HIDDEN],
  'self_attn.k_proj.weight': [HIDDEN, HIDDEN],
  'self_attn.v_proj.weight': [HIDDEN, HIDDEN],
  'self_attn.o_proj.weight': [HIDDEN, HIDDEN],
  'mlp.gate_proj.weight': [INTERMEDIATE, HIDDEN],
  'mlp.up_proj.weight': [INTERMEDIATE, HIDDEN],
  'mlp.down_proj.weight': [HIDDEN, INTERMEDIATE],
};

/** One shard of bf16; every number is 1/128. */
function shard(shapes: Readonly<Record<string, readonly number[]>>): Uint8Array {
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1 / 128);
    return [name, { dtype: 'bf16' as const, shape, data }] as const;
  });
  return encodeSafetensors(Object.fromEntries(tensors));
}

function writeShards(folder: string): void {
  const weightMap: Record<string, string> = {};
  const write = (file: string, shapes: Readonly<Record<string, readonly number[]>>) => {
    writeFileSync(join(folder, file), shard(shapes));
    for (const name of Object.keys(shapes)) weightMap[name] = file;
  };
  write('outer.safetensors', { 'model.embed_tokens.weight': [VOCABULARY, HIDDEN], 'model.norm.weight': [HIDDEN] });
  for (let layer = 0; layer < LAYERS; layer++) {
    const named = Object.entries(LAYER).map(([name, shape]) => [`model.layers.${layer}.${name}`, shape]);
    write(`layer-${layer}.safetensors`, Object.fromEntries(named));
  }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      model_type: 'llama',
      hidden_size: HIDDEN,
      intermediate_size: INTERMEDIATE,
      num_hidden_layers: LAYERS,
      num_attention_heads: 16,
      num_key_value_heads: 16,
      vocab_size: VOCABULARY,
      max_position_embeddings: 256,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      tie_word_embeddings: true,
      hidden_act: 'silu',
    }),
  );
}

it('shards of bf16 load with at most their size in f32 and 200 MB', { timeout: 600_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-shards-'));
  try {
    writeShards(folder);
    const program = fileURLToPath(new URL('loader.mjs', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, folder]);
    const { weights, peak } = JSON.parse(stdout) as { weights: number; peak: number };
    console.info(`shards: ${weights} bytes in f32, ${peak - weights} above at the peak`);
    expect(weights).toBe(
      4 * (VOCABULARY * HIDDEN + HIDDEN + LAYERS * (4 * HIDDEN ** 2 + 3 * HIDDEN * INTERMEDIATE + 2 * HIDDEN)),
    );
    expect(peak - weights).toBeLessThan(200e6);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
