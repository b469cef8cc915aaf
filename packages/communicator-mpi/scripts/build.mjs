// npm run build:native
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAddon } from '@lazy-attention/native/build';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(`${directory}/package.json`, 'utf8'));
const output = process.platform === 'win32' ? null : buildAddon({ directory, version });
if (output !== null) console.log(`built lazy_mpi.node in ${output}`);
