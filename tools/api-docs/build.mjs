// Writes the site to dist-docs, guides and API reference: npm run docs.
import { join } from 'node:path';
import { writePages } from './pages.mjs';
import { publishedPackages, readReference, root } from './reference.mjs';

const out = join(root, 'dist-docs');
const { app, project } = await readReference(publishedPackages(), writePages());
await app.generateDocs(project, out);
if (app.logger.hasErrors()) process.exit(1);
console.log(`Docs: ${join(out, 'index.html')}`);
