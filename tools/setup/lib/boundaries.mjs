/**
 * The arrows of docs/architecture.md as a rule on manifests: which workspace may depend on which. The linter refuses
 * imports that a manifest does not declare, so the manifests are the whole truth.
 */

const BACKENDS = ['reference', 'cpu', 'cuda', 'tfjs', 'webgpu'].map((name) => `backend-${name}`);
const MODEL_USERS = { runtime: ['core', 'data', 'nn'], tests: BACKENDS };

/** By package, without its scope: what of the project it may depend on at run time, and besides for its tests. */
const RULES = {
  core: { runtime: [], tests: [] },
  native: { runtime: ['core'], tests: [] },
  data: { runtime: ['core'], tests: [] },
  nn: { runtime: ['core'], tests: ['backend-reference'] },
  analysis: { runtime: ['core', 'nn'], tests: BACKENDS },
  onnx: { runtime: ['core', 'nn'], tests: BACKENDS },
  'communicator-mpi': { runtime: ['core', 'native', 'nn'], tests: ['backend-reference'] },
  evaluation: MODEL_USERS,
  models: MODEL_USERS,
  conformance: { runtime: ['core', 'backend-reference'], tests: [] },
  ...Object.fromEntries(
    BACKENDS.map((name) => [name, { runtime: ['core', 'native'], tests: ['backend-reference', 'conformance', 'nn'] }]),
  ),
  'lazy-attention': {
    runtime: ['core', 'nn', 'data', 'analysis', 'evaluation', 'models', 'onnx', ...BACKENDS],
    tests: ['conformance', 'communicator-mpi'],
  },
  playground: {
    runtime: ['core', 'nn', 'data', 'analysis', 'models', 'backend-reference', 'backend-tfjs', 'backend-webgpu'],
    tests: ['backend-cpu'],
  },
};

/** The tools are nobody's dependency, so they may depend on everything. */
const TOOLS = ['api-docs', 'bench', 'evidence', 'example-programs', 'examples', 'fuzz', 'gpu', 'release', 'setup'];

/** A native backend's binaries, one package per platform, made when it is published. */
const BINARY = /^backend-(cpu|cuda)-(linux|darwin|win32)-/;

const SCOPE = '@lazy-attention/';
const ours = (name) => name === 'lazy-attention' || name.startsWith(SCOPE);
const short = (name) => name.replace(SCOPE, '');

/** Sentences, one for each arrow that runs the wrong way. */
export function wrongArrows(manifests) {
  const wrong = [];
  for (const manifest of manifests) {
    const who = short(manifest.name);
    if (TOOLS.includes(who)) continue;
    const { runtime, tests } = RULES[who] ?? { runtime: [], tests: [] };
    const check = (field, allowed) => {
      for (const name of Object.keys(manifest[field] ?? {})) {
        const binary = BACKENDS.includes(who) && BINARY.test(short(name));
        if (ours(name) && !binary && !allowed.includes(short(name))) {
          wrong.push(`${manifest.name} must not have ${name} in its ${field}`);
        }
      }
    };
    for (const field of ['dependencies', 'optionalDependencies', 'peerDependencies']) check(field, runtime);
    check('devDependencies', [...runtime, ...tests]);
  }
  return wrong;
}

/** Sentences, one for each package without a rule and each rule without a package. */
export function staleRules(manifests) {
  const there = new Set(manifests.map(({ name }) => short(name)));
  const known = new Set([...Object.keys(RULES), ...TOOLS]);
  return [
    ...[...there].filter((name) => !known.has(name)).map((name) => `${name} has no rule in boundaries.mjs`),
    ...[...known]
      .filter((name) => !there.has(name))
      .map((name) => `boundaries.mjs has a rule for ${name}, which is no package`),
  ];
}
