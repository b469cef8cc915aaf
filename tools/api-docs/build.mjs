// Writes the API reference to dist-docs: npm run docs.
import { join } from 'node:path';
import { publishedPackages, readReference, root } from './reference.mjs';

const out = join(root, 'dist-docs');
const { app, project } = await readReference(publishedPackages());
await app.generateDocs(project, out);
if (app.logger.hasErrors()) process.exit(1);
console.log(`API reference: ${join(out, 'index.html')}`);
