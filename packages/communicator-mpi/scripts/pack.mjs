// npm run pack:platform [-- --out FOLDER] [--targets A,B] [--prebuilt FILE]
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packBackend } from '@lazy-attention/native/pack';

packBackend({
  directory: dirname(dirname(fileURLToPath(import.meta.url))),
  file: 'lazy_mpi.node',
  buildScript: 'build:native',
});
