// The checks of `npm run check` that look at this repository's own files: what each found, as sentences.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspaces.mjs';
import { wideProse } from '../wrap.mjs';
import { deadCitations, headingsOf } from './citations.mjs';
import { unformatted } from './clang-format.mjs';
import { importCircles } from './import-circles.mjs';
import { comparedKinds, kindNames } from './kind-names.mjs';
import { REASONS } from './long-functions.mjs';
import { longFiles, longFunctions, unexplained } from './sizes.mjs';
import { MARKDOWN, ownFiles, readFiles, SOURCE } from './sources.mjs';

/** { name: sentences } of every check; empty where nothing was found. */
export function sourceChecks() {
  const paths = ownFiles();
  const sources = readFiles(paths, SOURCE);
  const headings = headingsOf(readFileSync(join(root, 'docs/spec.md'), 'utf8'));
  return {
    'import circles': importCircles(readFiles(paths, /\.(ts|tsx|mjs|js)$/)),
    'citations of the specification': deadCitations(readFiles(paths, /\.(ts|mjs|js|h|cpp|cu|cuh|wgsl|md)$/), headings),
    'files of more than 500 lines': longFiles(sources),
    'functions of more than 80 lines': unexplained(longFunctions(sources), REASONS),
    'kinds compared by name': comparedKinds(sources, kindNames(sources)),
    'wide prose': wideProse(readFiles(paths, MARKDOWN)),
    'C++ out of format': unformatted(paths.filter((path) => /\.(cpp|h|cu|cuh)$/.test(path))),
  };
}
