// Before the package is packed: the built playground goes into it.
import { cpSync, existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
if (!existsSync(at('../../playground/dist/index.html'))) {
  console.error('apps/playground is not built; run npm run build first');
  process.exit(1);
}
rmSync(at('../playground'), { recursive: true, force: true });
cpSync(at('../../playground/dist'), at('../playground'), { recursive: true });
