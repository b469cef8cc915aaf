/** What needs Node's file system; everything else is in the main entry, which runs in browsers too. */

export type { LoadParamsOptions } from './checkpoint/params.ts';
export {
  type CheckpointContents,
  checkpointState,
  type LoadedCheckpoint,
  type LoadOptions,
  latestCheckpoint,
  listCheckpoints,
  loadCheckpoint,
  saveCheckpoint,
} from './node/checkpoint.ts';
export { makeFolder, type OpenFile, openFile, renameDurably, syncFolder, writeDurably } from './node/files.ts';
export { loadAttention } from './node/load-attention.ts';
export type { Json } from './node/manifest.ts';
export { loadParams, saveParams } from './node/tensors.ts';
