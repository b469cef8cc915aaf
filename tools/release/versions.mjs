// npm run version-packages [-- --root FOLDER]: what the changesets ask for becomes versions and CHANGELOGs, in the manifests and in the
// places that repeat the version. Run it, commit, build again (native binaries carry the version), and release.
import { parseArgs } from 'node:util';
import { root } from '../setup/lib/workspaces.mjs';
import { applyChangesets, repeatVersion } from './lib/repeat-version.mjs';

const { values } = parseArgs({ options: { root: { type: 'string', default: root } } });
applyChangesets(values.root);
console.log(`version ${repeatVersion(values.root)}`);
