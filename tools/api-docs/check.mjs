// Fails on a public export or member without a comment: npm run check.
import { publishedPackages, readReference, undocumented } from './reference.mjs';

const { project } = await readReference(publishedPackages());
const missing = undocumented(project);
for (const { at, name } of missing)
  console.error(`${at}: ${name} has no comment: say what it is, with shapes and units`);
if (missing.length > 0) console.error(`${missing.length} public exports or members have no comment`);
process.exit(missing.length > 0 ? 1 : 0);
