import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { root, workspaces } from '../../setup/lib/workspaces.mjs';
import { FOR_PAGES } from '../lib/matrix.mjs';

/** Every entry with types of every published package. */
function entries() {
  return workspaces()
    .filter(({ manifest }) => !manifest.private)
    .flatMap(({ manifest }) =>
      Object.entries(manifest.exports).flatMap(([entry, value]) =>
        value.types === undefined ? [] : [`${manifest.name}${entry.slice(1)}`],
      ),
    );
}

/** The errors of a strict project, libraries checked, that imports `names`: inside of this workspace, which finds packages as a user's does. */
function errorsOf(project, names, more = {}) {
  const folder = join(import.meta.dirname, '..', 'build', project);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'all.mts'), names.map((name, i) => `export * as package${i} from '${name}';\n`).join(''));
  const compilerOptions = {
    ...{ strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true, noEmit: true },
    ...{ module: 'nodenext', target: 'es2022', lib: ['es2023', 'dom'], types: ['node'], ...more },
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['all.mts'] }));
  const { bin } = JSON.parse(readFileSync(join(root, 'node_modules/typescript/package.json'), 'utf8'));
  const tsc = join(root, 'node_modules/typescript', bin.tsc);
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  expect([stderr, status === null]).toEqual(['', false]);
  return stdout.split('\n').filter((line) => /error TS/.test(line));
}

const ofOurs = (line) => /(packages|apps)[\\/][\w-]+[\\/]dist|all\.mts/.test(line);
const onTensorFlow = (name) => name.startsWith('@lazy-attention/backend-tfjs');

it('a strict project that checks libraries, too, takes the types of every package', { timeout: 240_000 }, () => {
  const names = entries().filter((name) => !onTensorFlow(name));
  expect(names.length).toBeGreaterThan(15);
  expect(errorsOf('types', names)).toEqual([]);
});

it('so does a page without the types of Node, and a program of Node without those of pages', {
  timeout: 240_000,
}, () => {
  const page = { module: 'esnext', moduleResolution: 'bundler', customConditions: ['browser'], types: [] };
  const forPages = FOR_PAGES.map((entry) => `@lazy-attention/${entry}`).filter((name) => !onTensorFlow(name));
  expect(errorsOf('types-page', forPages, { ...page, lib: ['es2022', 'dom'] })).toEqual([]);
  // WebGPU's types are those of `dom`, and onnxruntime's and vitest's need them.
  const forNode = entries().filter((name) => !onTensorFlow(name) && !/backend-webgpu|onnx$|conformance/.test(name));
  expect(errorsOf('types-node', forNode, { lib: ['es2022'] }).filter(ofOurs)).toEqual([]);
});

// TensorFlow.js 4.22 has errors of its own: a Long that is nowhere, and WebGPU's types of 2022 beside those of the DOM.
it('and of the backend on TensorFlow.js, whose own errors are in its own files', { timeout: 240_000 }, () => {
  const names = entries().filter(onTensorFlow);
  expect(names.length).toBeGreaterThan(0);
  const errors = errorsOf('types-tfjs', names);
  expect(errors.filter((line) => /backend-tfjs[\\/](dist|src)|all\.mts/.test(line))).toEqual([]);
});
