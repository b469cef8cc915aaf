/**
 * The arrows of docs/architecture.md as a rule on manifests: which workspace may depend on which. The linter refuses
 * imports that a manifest does not declare, so the manifests are the whole truth.
 */

const APPS = /^@lazy-attention\/(nn|data|analysis|evaluation|models|onnx|core)$/;
const RULES = [
  // [who, what of the project it may depend on at run time, for its tests]
  [/^@lazy-attention\/core$/, /^$/, /^$/],
  [
    /^@lazy-attention\/backend-/,
    /^@lazy-attention\/(core$|native$|backend-(cpu|cuda)-)/,
    /^@lazy-attention\/(backend-reference|conformance|nn)$/,
  ],
  [/^@lazy-attention\/native$/, /^@lazy-attention\/core$/, /^$/],
  [/^@lazy-attention\/data$/, /^@lazy-attention\/core$/, /^$/],
  [/^@lazy-attention\/nn$/, /^@lazy-attention\/core$/, /^@lazy-attention\/backend-reference$/],
  [/^@lazy-attention\/analysis$/, /^@lazy-attention\/(core|nn)$/, /^@lazy-attention\/backend-/],
  [/^@lazy-attention\/evaluation$/, /^@lazy-attention\/(core|data|nn)$/, /^@lazy-attention\/backend-/],
  [/^@lazy-attention\/models$/, /^@lazy-attention\/(core|data|nn)$/, /^@lazy-attention\/backend-/],
  [/^@lazy-attention\/onnx$/, /^@lazy-attention\/(core|nn)$/, /^@lazy-attention\/backend-/],
  [/^@lazy-attention\/conformance$/, /^@lazy-attention\/(core|backend-reference)$/, /^$/],
  [
    /^(lazy-attention|@lazy-attention\/playground)$/,
    new RegExp(`${APPS.source}|^@lazy-attention/backend-`),
    /^@lazy-attention\//,
  ],
  [
    /^@lazy-attention\/(bench|examples|fuzz|golden|gpu|setup)$/,
    /^(lazy-attention$|@lazy-attention\/)/,
    /^(lazy-attention$|@lazy-attention\/)/,
  ],
];

const ours = (name) => name === 'lazy-attention' || name.startsWith('@lazy-attention/');

/** Sentences, one for each arrow that runs the wrong way. */
export function wrongArrows(manifests) {
  const wrong = [];
  for (const manifest of manifests) {
    const [, runtime, testing] = RULES.find(([who]) => who.test(manifest.name)) ?? [null, /^$/, /^$/];
    const check = (field, allowed) => {
      for (const name of Object.keys(manifest[field] ?? {})) {
        if (ours(name) && !allowed.some((pattern) => pattern.test(name))) {
          wrong.push(`${manifest.name} must not have ${name} in its ${field}`);
        }
      }
    };
    for (const field of ['dependencies', 'optionalDependencies', 'peerDependencies']) check(field, [runtime]);
    check('devDependencies', [runtime, testing]);
  }
  return wrong;
}
