import { spawnSync } from 'node:child_process';
import { movedLinks } from '../../setup/lib/links.mjs';

/** As the command asks of its own checkout: apps/train/src/run/program.ts. */
const DESCRIBE = ['describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'];

const KEYWORDS = ['lazy-attention', 'attention', 'transformer', 'machine-learning'];

/** Words that people search for, beside those that every package has. */
const MORE_KEYWORDS = {
  'lazy-attention': ['language-model', 'training', 'cli'],
  nn: ['autodiff', 'language-model', 'training'],
  data: ['tokenizer', 'dataset'],
  models: ['safetensors', 'gguf', 'huggingface', 'llama'],
  analysis: ['attention-sink', 'sparsity', 'interpretability'],
  evaluation: ['lm-eval', 'benchmark'],
  onnx: ['onnx', 'onnxruntime'],
  'backend-cpu': ['simd', 'native-addon'],
  'backend-cuda': ['cuda', 'gpu'],
  'backend-webgpu': ['webgpu', 'wgsl', 'gpu'],
  'backend-tfjs': ['tensorflow', 'tfjs'],
};

/** Of the sources, with -dirty where they differ from it; null outside of a checkout. A run of the command says from which it was built. */
export function commitHere() {
  const { status, stdout } = spawnSync('git', ['-C', import.meta.dirname, ...DESCRIBE], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

/** What all of the project's packages say of themselves. */
export function identity(name, folder, { url, web }) {
  const short = name.replace('@lazy-attention/', '');
  return {
    repository: { type: 'git', url, directory: folder },
    homepage: `${web}/tree/main/${folder}#readme`,
    bugs: { url: `${web}/issues` },
    keywords: [...KEYWORDS, ...(MORE_KEYWORDS[short] ?? [])],
  };
}

/**
 * A workspace's package.json as it is published: without what only the repository needs, and with where it comes from. The
 * scripts that stay are those that build a native addon from source.
 */
export function publishedManifest({ folder, manifest, where, binaries }) {
  const { devDependencies: _, scripts = {}, private: __, ...rest } = manifest;
  const kept = Object.entries(scripts).filter(([name]) => /^build:(native|cuda|emulated)$/.test(name));
  return {
    ...rest,
    files: [...new Set([...manifest.files, 'CHANGELOG.md'])],
    ...identity(manifest.name, folder, where),
    ...(kept.length > 0 ? { scripts: Object.fromEntries(kept) } : {}),
    ...(binaries.length > 0
      ? { optionalDependencies: Object.fromEntries(binaries.map((name) => [name, manifest.version])) }
      : {}),
    ...(where.commit ? { gitHead: where.commit } : {}),
    publishConfig: { access: 'public' },
  };
}

/**
 * A README with links that work on any page that shows it: relative ones point to the repository, pictures to the picture
 * itself. @throws Error naming a link to a file that is not there
 */
export function absoluteLinks(text, { folder, web, ref }) {
  return movedLinks(
    text,
    `${folder}/README.md`,
    ({ path, anchor, picture }) => `${web}/${picture ? 'raw' : 'blob'}/${ref}/${path}${anchor}`,
  );
}
