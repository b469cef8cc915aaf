import { textAt } from './elf.mjs';

/**
 * What a library for Windows (PE, 64 bits) needs and gives.
 *
 * @returns {{ needed: string[], exported: string[], imported: string[] }} libraries, its own functions, and those of others
 */
export function readPe(bytes) {
  const header = bytes.readUInt32LE(60) + 4;
  const optional = header + 20;
  const sections = Array.from({ length: bytes.readUInt16LE(header + 2) }, (_, i) => {
    const at = optional + bytes.readUInt16LE(header + 16) + 40 * i;
    return {
      address: bytes.readUInt32LE(at + 12),
      size: bytes.readUInt32LE(at + 16),
      offset: bytes.readUInt32LE(at + 20),
    };
  });
  const place = (address) => {
    const section = sections.find((each) => address >= each.address && address < each.address + each.size);
    return section === undefined ? null : address - section.address + section.offset;
  };
  const directory = (index) => place(bytes.readUInt32LE(optional + 112 + 8 * index));
  return { exported: exportsOf(bytes, directory(0), place), ...importsOf(bytes, directory(1), place) };
}

function exportsOf(bytes, directory, place) {
  if (directory === null) return [];
  const names = place(bytes.readUInt32LE(directory + 32));
  return Array.from({ length: bytes.readUInt32LE(directory + 24) }, (_, i) =>
    textAt(bytes, place(bytes.readUInt32LE(names + 4 * i))),
  );
}

function importsOf(bytes, directory, place) {
  const found = { needed: [], imported: [] };
  if (directory === null) return found;
  for (let at = directory; bytes.readUInt32LE(at + 12) !== 0; at += 20) {
    found.needed.push(textAt(bytes, place(bytes.readUInt32LE(at + 12))));
    let entry = place(bytes.readUInt32LE(at) || bytes.readUInt32LE(at + 16));
    for (; bytes.readBigUInt64LE(entry) !== 0n; entry += 8) {
      const hint = bytes.readBigUInt64LE(entry);
      if (hint >> 63n === 0n) found.imported.push(textAt(bytes, place(Number(hint)) + 2));
    }
  }
  return found;
}
