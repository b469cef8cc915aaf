// npm run release -- --dry-run     makes and checks every package, publishes them to a registry on localhost, installs from there
//                                  into empty folders and runs what the READMEs print
// npm run release                  makes, checks and publishes; needs a binary for every platform, and sources without changes
// --out FOLDER                     where the tarballs go; default tools/release/build, of a rehearsal a folder that goes with it
// --no-install                     stop after the checks
// --cut-off                        does so where the network is localhost alone (Linux: a namespace of `unshare`); what others publish comes
//                                  from the registry of an earlier rehearsal
// --brief                          of the installations only those that are measured, and no quick start
// --from-source                    builds the CPU's addon from what is installed, too; minutes, and a compiler
// --only TEXT                      of installations and quick starts those whose name holds it
// --write                          puts the table of installations into README.md
// --provenance                     npm signs where the packages were built (on GitHub's machines)
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { stories } from '../examples/lib/stories.mjs';
import { home } from '../setup/lib/links.mjs';
import { root, workspaces } from '../setup/lib/workspaces.mjs';
import { CASES } from './lib/cases.mjs';
import { faults } from './lib/check.mjs';
import { isCutOff, runCutOff } from './lib/cut-off.mjs';
import { barePath, followInstalled, installAndRun, installsTable } from './lib/installs.mjs';
import { commitHere } from './lib/manifest.mjs';
import { npm } from './lib/npm.mjs';
import { missingBinaries, unclearSources } from './lib/ready.mjs';
import { installVerdaccio, startRegistry } from './lib/registry.mjs';
import { packAll, stageAll } from './lib/stage.mjs';
import { writeTable } from './lib/tables.mjs';

const { values } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    out: { type: 'string' },
    'no-install': { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    'cut-off': { type: 'boolean', default: false },
    'from-source': { type: 'boolean', default: false },
    brief: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    provenance: { type: 'boolean', default: false },
  },
});

const BUILD = join(root, 'tools/release/build');

/** The program of the registry, and what it got from others, for the next time. */
const REGISTRY = join(root, 'node_modules/.cache/lazy-attention-registry');

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Every package as a tarball in `out`; throws a list of all that is wrong. */
function build(out) {
  const where = { ...home(), commit: commitHere() };
  const staged = stageAll({ root, workspaces: workspaces(), where, out: join(out, 'staged') });
  const names = new Map(staged.map(({ manifest }) => [manifest.name, manifest.version]));
  const tarballs = packAll(
    staged.map(({ folder }) => folder),
    out,
  );
  const packed = staged.map((entry, i) => ({ ...entry, ...tarballs[i] }));
  const wrong = packed.flatMap((entry) => faults(entry, names));
  if (wrong.length > 0) throw new Error(`the packages are not fit to publish:\n  ${wrong.join('\n  ')}`);
  for (const { name, manifest, size, files } of packed) {
    console.log(`${name} ${manifest.version}: ${files.length} files, ${megabytes(size)}`);
  }
  return packed;
}

function publish(packed, options, env = {}) {
  for (const { tarball } of packed) {
    npm(['publish', tarball, '--ignore-scripts', '--access', 'public', ...options], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, npm_config_update_notifier: 'false', ...env },
    });
  }
}

/** Publishes to a registry on localhost and does there what the READMEs and the quick starts say. @returns what was measured */
async function rehearse(packed) {
  const program = installVerdaccio(REGISTRY);
  if (program === null) throw new Error('verdaccio cannot be installed here; the installs are not rehearsed');
  const folder = mkdtempSync(join(tmpdir(), 'lazy-release-'));
  const registry = await startRegistry(program, {
    folder: join(folder, 'registry'),
    cache: join(REGISTRY, 'storage'),
    alone: values['cut-off'],
  });
  try {
    writeFileSync(join(folder, 'npmrc'), registry.npmrc);
    publish(packed, ['--loglevel=error'], {
      npm_config_userconfig: join(folder, 'npmrc'),
      npm_config_registry: registry.url,
    });
    console.log(`published ${packed.length} packages to ${registry.url}`);
    const place = (name) => ({ ...bare, folder: join(folder, name.replaceAll(/\W+/g, '-')) });
    const bare = { root, registry, path: barePath(join(folder, 'bin')), cache: join(folder, 'cache') };
    const results = [];
    const wanted = ({ name, measured, compiles }) =>
      name.includes(values.only) && (measured || !values.brief) && (!compiles || values['from-source']);
    for (const test of CASES.filter(wanted)) {
      const { name, seconds, packages, bytes } = await installAndRun(test, place(test.name));
      console.log(`${name}: installed in ${seconds.toFixed(1)} s, ${packages} packages, ${megabytes(bytes)}; runs`);
      if (test.measured)
        results.push({
          name,
          readme: test.readme,
          install: [test.install, ...(test.more ?? [])].join(' '),
          seconds,
          packages,
          bytes,
        });
    }
    for (const story of stories().filter(wanted)) {
      const stopped = await followInstalled(story, place(story.name));
      console.log(`${story.file}: ${stopped === null ? 'runs' : `runs until ${stopped}`}`);
    }
    return results;
  } finally {
    registry.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

if (values['cut-off'] && !isCutOff()) process.exit(runCutOff(import.meta.filename, process.argv.slice(2)));
const rehearses = values['dry-run'] && !values['no-install'];
// Two rehearsals at once must not share a folder; whatever else lies in one that was named stays there.
const passing = rehearses && values.out === undefined;
const out = passing ? mkdtempSync(join(tmpdir(), 'lazy-packed-')) : resolve(values.out ?? BUILD);
rmSync(join(out, 'staged'), { recursive: true, force: true });
mkdirSync(out, { recursive: true });
try {
  const wanting = [...missingBinaries(root), ...unclearSources(commitHere())];
  if (wanting.length > 0) {
    if (!values['dry-run']) throw new Error(`this cannot be released:\n  ${wanting.join('\n  ')}`);
    console.log(`a release would refuse: ${wanting.join('; ')}`);
  }
  const packed = build(out);
  if (!values['dry-run']) publish(packed, values.provenance ? ['--provenance'] : []);
  else if (rehearses) {
    const installs = await rehearse(packed);
    writeFileSync(join(out, 'installs.json'), `${JSON.stringify(installs, null, 2)}\n`);
    if (values.write) writeTable('installs', installsTable(installs));
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  if (passing) rmSync(out, { recursive: true, force: true, maxRetries: 5 });
}
