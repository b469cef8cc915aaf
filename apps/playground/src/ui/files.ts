/** Files of a model, by their path in its folder. */
export interface Found {
  readonly name: string;
  readonly files: Readonly<{ [name: string]: Blob }>;
}

/** What an input of type file holds: files, or those of one folder. Null for nothing. */
export function picked(list: FileList | null): Found | null {
  const files = Array.from(list ?? []);
  const [first] = files;
  if (first === undefined) return null;
  const inFolder = first.webkitRelativePath.split('/');
  const name = inFolder.length > 1 ? (inFolder[0] as string) : first.name;
  return { name, files: Object.fromEntries(files.map((file) => [pathOf(file), file])) };
}

function pathOf(file: File): string {
  const path = file.webkitRelativePath;
  return path === '' ? file.name : path.slice(path.indexOf('/') + 1);
}

/** What was dropped: files, or one folder with all that is in it. */
export async function dropped(transfer: DataTransfer): Promise<Found | null> {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const [only] = entries;
  if (entries.length !== 1 || only === undefined || !only.isDirectory) return picked(transfer.files);
  const files: { [name: string]: Blob } = {};
  await collect(only as FileSystemDirectoryEntry, '', files);
  return { name: only.name, files };
}

async function collect(
  folder: FileSystemDirectoryEntry,
  prefix: string,
  files: { [name: string]: Blob },
): Promise<void> {
  const reader = folder.createReader();
  for (;;) {
    // A folder is given out in parts, the last of which is empty.
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return;
    for (const entry of entries) {
      if (entry.isDirectory) await collect(entry as FileSystemDirectoryEntry, `${prefix}${entry.name}/`, files);
      else
        files[prefix + entry.name] = await new Promise<File>((resolve, reject) =>
          (entry as FileSystemFileEntry).file(resolve, reject),
        );
    }
  }
}
