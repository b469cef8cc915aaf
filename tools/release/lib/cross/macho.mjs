import { textAt } from './elf.mjs';

/** Load commands of Mach-O. */
const LIBRARIES = [0xc, 0x80000018, 0x8000001f]; // needed, weak, exported again
const SYMBOLS = 0x2;
const BUILD_VERSION = 0x32;
const LEAST_MACOS = 0x24;
const SIGNATURE = 0x1d;
const DYLD_INFO = [0x22, 0x80000022];
const EXPORTS_TRIE = 0x80000033;

/**
 * What a bundle or library for macOS (Mach-O, 64 bits) needs and gives.
 *
 * @returns {{ needed: string[], exported: string[], imported: string[], macos: string | null, signed: boolean }} libraries, symbols
 *   of others and its own, all without the underscore in front, the oldest macOS that it is for, and whether it is signed
 */
export function readMachO(bytes) {
  const found = { needed: [], exported: [], imported: [], macos: null, signed: false };
  let at = 32;
  for (let i = 0; i < bytes.readUInt32LE(16); i++) {
    const word = (index) => bytes.readUInt32LE(at + 4 * index);
    const command = word(0);
    if (LIBRARIES.includes(command)) found.needed.push(textAt(bytes, at + word(2)));
    else if (command === SYMBOLS) found.imported = undefinedSymbols(bytes, word(2), word(3), word(4));
    else if (command === BUILD_VERSION) found.macos = versionOf(word(3));
    else if (command === LEAST_MACOS) found.macos = versionOf(word(2));
    else if (command === SIGNATURE) found.signed = word(3) > 0;
    else if (DYLD_INFO.includes(command)) found.exported.push(...trie(bytes, word(10), word(11)));
    else if (command === EXPORTS_TRIE) found.exported.push(...trie(bytes, word(2), word(3)));
    at += word(1);
  }
  return found;
}

function versionOf(word) {
  return `${word >> 16}.${(word >> 8) & 255}`;
}

function undefinedSymbols(bytes, offset, count, strings) {
  const names = [];
  for (let i = 0; i < count; i++) {
    const at = offset + 16 * i;
    const type = bytes[at + 4];
    if (type & 1 && (type & 0xe) === 0) names.push(bare(textAt(bytes, strings + bytes.readUInt32LE(at))));
  }
  return names;
}

/** The names in an export trie: a node is the size of what it says of its own name, that, and its children, each a piece of text and an offset. */
function trie(bytes, offset, size) {
  const names = [];
  const walk = (node, name) => {
    const [own, start] = uleb(bytes, offset + node);
    if (own > 0) names.push(bare(name));
    let at = start + own;
    let children = bytes[at++];
    while (children-- > 0) {
      const piece = textAt(bytes, at);
      const [next, after] = uleb(bytes, at + piece.length + 1);
      walk(next, name + piece);
      at = after;
    }
  };
  if (size > 0) walk(0, '');
  return names;
}

/** A number in groups of 7 bits, the lowest first: [it, where it ends]. */
function uleb(bytes, at) {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = bytes[at++];
    value += (byte & 127) * scale;
    if (byte < 128) return [value, at];
    scale *= 128;
  }
}

function bare(name) {
  return name.replace(/^_/, '');
}
