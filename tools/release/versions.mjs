// npm run version-packages [-- --root FOLDER]: what the changesets ask for becomes versions and CHANGELOGs, in the manifests and in the
// places that repeat the version. Run it, commit, build again (native binaries carry the version), and release.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { root } from '../setup/lib/workspaces.mjs';
import { repeatVersion } from './lib/repeat-version.mjs';

const { values } = parseArgs({ options: { root: { type: 'string', default: root } } });
const cli = createRequire(import.meta.url).resolve('@changesets/cli/bin.js');
execFileSync(process.execPath, [cli, 'version'], { cwd: values.root, stdio: 'inherit' });
console.log(`version ${repeatVersion(values.root)}`);
