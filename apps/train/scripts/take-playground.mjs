// Before the package is packed: the built playground goes into it.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const built = at('../../playground/dist');
const taken = at('../playground');

/** Every file with its bytes. */
function filesOf(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((path) => [path.slice(folder.length), readFileSync(path, 'base64')])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

if (!existsSync(join(built, 'index.html'))) {
  console.error('apps/playground is not built; run npm run build first');
  process.exit(1);
}
// What is the same stays: another packing may be reading it.
if (JSON.stringify(filesOf(built)) !== JSON.stringify(filesOf(taken))) {
  rmSync(taken, { recursive: true, force: true });
  cpSync(built, taken, { recursive: true });
}
