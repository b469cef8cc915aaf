import { prepare } from './lib/prepare.mjs';

if (!prepare()) process.exit(1);
