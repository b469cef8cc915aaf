// RUNTIME load-binary.mjs OUT BINARY: loads an addon and writes the names that it exports to OUT.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [out, binary] = process.argv.slice(2);
writeFileSync(out, JSON.stringify(Object.keys(createRequire(import.meta.url)(binary))));
