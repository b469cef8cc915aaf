// npm run release -- --dry-run     makes and checks every package, publishes them to a registry on localhost, installs from there
//                                  into empty folders and runs what the READMEs print
// npm run release                  makes, checks and publishes; needs a binary for every platform
// --out FOLDER                     where the tarballs go; default tools/release/build
// --no-install                     stop after the checks
// --provenance                     npm signs where the packages were built (on GitHub's machines)
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root, workspaces } from '../setup/lib/workspaces.mjs';
import { faults } from './lib/check.mjs';
import { barePath, CASES, installAndRun } from './lib/installs.mjs';
import { commitHere, home } from './lib/manifest.mjs';
import { installVerdaccio, startRegistry } from './lib/registry.mjs';
import { binariesOf, pack, REQUIRED, stageAll } from './lib/stage.mjs';

const { values } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'tools/release/build') },
    'no-install': { type: 'boolean', default: false },
    provenance: { type: 'boolean', default: false },
  },
});

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Every package as a tarball in `out`; throws a list of all that is wrong. */
function build(out) {
  const where = { ...home(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))), commit: commitHere() };
  const staged = stageAll({ root, workspaces: workspaces(), where, out: join(out, 'staged') });
  const names = new Map(staged.map(({ manifest }) => [manifest.name, manifest.version]));
  const packed = staged.map((entry) => ({ ...entry, ...pack(entry.folder, out) }));
  const wrong = packed.flatMap((entry) => faults(entry, names));
  if (wrong.length > 0) throw new Error(`the packages are not fit to publish:\n  ${wrong.join('\n  ')}`);
  for (const { name, manifest, size, files } of packed) {
    console.log(`${name} ${manifest.version}: ${files.length} files, ${megabytes(size)}`);
  }
  return packed;
}

/** Platforms that have no binary, as sentences. */
function missingBinaries() {
  return Object.entries(REQUIRED).flatMap(([backend, targets]) => {
    const there = binariesOf(root, backend).map(({ target }) => target);
    return targets
      .filter((target) => !there.includes(target))
      .map((target) => `${backend} has no binary for ${target}`);
  });
}

function publish(packed, options, env = {}) {
  for (const { tarball } of packed) {
    execFileSync('npm', ['publish', tarball, '--ignore-scripts', '--access', 'public', ...options], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, npm_config_update_notifier: 'false', ...env },
    });
  }
}

async function rehearse(packed) {
  const program = installVerdaccio(join(root, 'node_modules/.cache/lazy-attention-registry'));
  if (program === null) throw new Error('verdaccio cannot be installed here; the installs are not rehearsed');
  const folder = mkdtempSync(join(tmpdir(), 'lazy-release-'));
  const registry = await startRegistry(program, join(folder, 'registry'));
  try {
    writeFileSync(join(folder, 'npmrc'), registry.npmrc);
    publish(packed, ['--loglevel=error'], {
      npm_config_userconfig: join(folder, 'npmrc'),
      npm_config_registry: registry.url,
    });
    console.log(`published ${packed.length} packages to ${registry.url}`);
    const path = barePath(join(folder, 'bin'));
    const results = [];
    for (const [index, test] of CASES.entries()) {
      const result = installAndRun(test, { root, folder: join(folder, String(index)), registry, path });
      const { name, seconds, packages, bytes } = result;
      console.log(`${name}: installed in ${seconds.toFixed(1)} s, ${packages} packages, ${megabytes(bytes)}; runs`);
      results.push({ name, seconds, packages, bytes });
    }
    return results;
  } finally {
    registry.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const out = resolve(values.out);
// Whatever else lies in a folder that was named stays there.
rmSync(join(out, 'staged'), { recursive: true, force: true });
mkdirSync(out, { recursive: true });
try {
  const missing = missingBinaries();
  if (missing.length > 0) {
    if (!values['dry-run']) throw new Error(`a release needs every binary:\n  ${missing.join('\n  ')}`);
    console.log(`not in this rehearsal: ${missing.join('; ')}`);
  }
  const packed = build(out);
  if (!values['dry-run']) publish(packed, values.provenance ? ['--provenance'] : []);
  else if (!values['no-install']) {
    writeFileSync(join(out, 'installs.json'), `${JSON.stringify(await rehearse(packed), null, 2)}\n`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
