import { type OpenedModel, openModelFiles } from '../open.ts';
import { pathFiles } from './files.ts';

/**
 * Opens a model: a run folder, a checkpoint in it, a Hugging Face or fla folder, or a .gguf file. Headers, configuration and names
 * are checked here; weights are read by `load`. The caller closes it.
 * @throws ModelError with the file, the key or tensor, and the fix
 */
export async function openModel(path: string): Promise<OpenedModel> {
  const files = await pathFiles(path);
  try {
    return { ...(await openModelFiles(files)), close: () => files.close() };
  } catch (error) {
    await files.close();
    throw error;
  }
}
