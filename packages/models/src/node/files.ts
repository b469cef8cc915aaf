import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointError } from '@lazy-attention/nn';
import { type OpenFile, openFile } from '@lazy-attention/nn/node';
import { ModelError, messageOf } from '../errors.ts';
import type { ModelFiles } from '../files.ts';

/** The files of a folder, or one file. Each is opened once and stays open until `close`. */
export interface ClosableFiles extends ModelFiles {
  close(): Promise<void>;
}

/** @throws ModelError MODEL_MISSING or MODEL_READ */
export async function pathFiles(path: string): Promise<ClosableFiles> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    (cause: unknown) => {
      throw new ModelError('MODEL_MISSING', path, 'no such file or folder', { cause });
    },
  );
  const folder = isFolder ? path : dirname(path);
  const names = isFolder ? await namesIn(path) : [basename(path)];
  const open = new Map<string, Promise<OpenFile>>();
  return {
    name: path,
    names,
    open(name) {
      let file = open.get(name);
      if (file === undefined) {
        file = openFile(join(folder, name)).catch(asModelError);
        open.set(name, file);
      }
      return file;
    },
    async close() {
      for (const file of open.values())
        await file.then(
          (opened) => opened.close(),
          () => {},
        );
      open.clear();
    },
  };
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    throw new ModelError('MODEL_READ', path, `cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function asModelError(error: unknown): never {
  if (!(error instanceof CheckpointError)) throw error;
  const code = error.code === 'CHECKPOINT_MISSING' ? 'MODEL_MISSING' : 'MODEL_READ';
  throw new ModelError(code, error.path, error.message.slice(error.path.length + 2), { cause: error });
}
