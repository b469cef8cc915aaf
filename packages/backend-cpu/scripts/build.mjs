// npm run build:native [-- --sanitize=address,undefined]
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildAddon } from '@lazy-attention/native/build';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(`${directory}/package.json`, 'utf8'));
const { values } = parseArgs({ options: { sanitize: { type: 'string', default: '' } } });
const sanitized =
  values.sanitize === ''
    ? {}
    : { variant: `-${values.sanitize.replaceAll(',', '-')}`, defines: { LAZY_SANITIZE: values.sanitize } };

const output = buildAddon({ directory, version, ...sanitized });
if (output !== null) console.log(`built lazy_cpu.node in ${output}`);
