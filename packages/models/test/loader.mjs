// Loads the model in the folder that it is given on the CPU backend and prints what that took, in bytes.
import { createBackend } from '@lazy-attention/core';
import { openModel } from '@lazy-attention/models/node';

const opened = await openModel(process.argv[2]);
const backend = await createBackend('cpu');
const { params } = await opened.load(backend);
const weights = Object.values(params).reduce((sum, { size }) => sum + 4 * size, 0);
// What the system counts is kibibytes.
console.log(JSON.stringify({ weights, peak: process.resourceUsage().maxRSS * 1024 }));
await backend.dispose();
await opened.close();
