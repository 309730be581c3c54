import type { StudyFile } from "./files";

const HEAD_BYTES = 64 * 1024;
const FILES_LOOKED_AT = 5;
const BODY_PART = 0x00180015;
const TRANSFER_SYNTAX = 0x00020010;
const IMPLICIT = "1.2.840.10008.1.2";
const UNREADABLE_HERE = ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]; // big endian, deflated
const LONG_VRS = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const UNDEFINED_LENGTH = 0xffffffff;
const SEQUENCE_END = 0xfffee0dd;

/** Body Part Examined of a study of DICOM files or a zip of them, to suggest a task by; null where it is not said. */
export async function bodyPartOf(files: readonly StudyFile[]): Promise<string | null> {
  for (const { file } of files.slice(0, FILES_LOOKED_AT)) {
    const head = await headOf(file).catch(() => null);
    const part = head && bodyPart(head);
    if (part) return part;
  }
  return null;
}

async function headOf(file: File): Promise<Uint8Array | null> {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const isZip = head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4;
  return isZip ? firstImageInZip(file) : head;
}

/** The beginning of the first members of a zip, one after another, until one is DICOM. */
async function firstImageInZip(file: File): Promise<Uint8Array | null> {
  let at = 0;
  for (let count = 0; count < FILES_LOOKED_AT; count += 1) {
    const view = new DataView(await file.slice(at, at + 30).arrayBuffer());
    if (view.byteLength < 30 || view.getUint32(0, true) !== 0x04034b50) return null;
    const [flags, method, size] = [view.getUint16(6, true), view.getUint16(8, true), view.getUint32(18, true)];
    const start = at + 30 + view.getUint16(26, true) + view.getUint16(28, true);
    const stored = file.slice(start, start + (size || 4 * HEAD_BYTES));
    const head = method === 8 ? await inflatedHead(stored) : new Uint8Array(await stored.slice(0, HEAD_BYTES).arrayBuffer());
    if (isDicom(head)) return head;
    // With bit 3 the size stands behind the data, which has then to be read through: not worth a suggestion.
    if (flags & 8) return null;
    at = start + size;
  }
  return null;
}

async function inflatedHead(stored: Blob): Promise<Uint8Array> {
  const reader = stored.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    while (length < HEAD_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
    }
  } catch {
    // Cut off where we stopped reading, or broken: what came is looked at, the server judges the whole.
  }
  void reader.cancel().catch(() => undefined);
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}

const isDicom = (head: Uint8Array): boolean => String.fromCharCode(...head.subarray(128, 132)) === "DICM";

/** Walks the elements, which stand in order of their tags (PS3.5, 7.1), up to the one that is wanted. */
function bodyPart(head: Uint8Array): string | null {
  if (!isDicom(head)) return null;
  const reader = new Elements(head);
  let syntax = "";
  for (let element = reader.next(); element && element.tag <= BODY_PART; element = reader.next()) {
    if (element.tag === TRANSFER_SYNTAX) syntax = element.text;
    if (UNREADABLE_HERE.includes(syntax)) return null;
    if (element.tag === BODY_PART) return element.text.toUpperCase() || null;
    reader.isImplicit = syntax === IMPLICIT;
  }
  return null;
}

interface Element {
  readonly tag: number;
  readonly text: string;
}

class Elements {
  isImplicit = false;
  private at = 132;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next element; null at the end of what was read. Sequences are passed over. */
  next(): Element | null {
    try {
      const { tag, length } = this.head();
      if (length === UNDEFINED_LENGTH) {
        this.skipSequence();
        return { tag, text: "" };
      }
      const value = this.bytes.subarray(this.at, this.at + length);
      this.at += length;
      return { tag, text: length > 128 ? "" : new TextDecoder().decode(value).replace(/[\0 ]+$/, "").trim() };
    } catch {
      return null;
    }
  }

  private head(): { tag: number; length: number } {
    const group = this.view.getUint16(this.at, true);
    const tag = group * 0x10000 + this.view.getUint16(this.at + 2, true);
    // Group 2 is explicit whatever follows it; items and delimiters have no value representation.
    const hasVr = group !== 0xfffe && (group === 2 || !this.isImplicit);
    const vr = String.fromCharCode(this.bytes[this.at + 4] ?? 0, this.bytes[this.at + 5] ?? 0);
    const isShort = hasVr && !LONG_VRS.has(vr);
    const length = isShort ? this.view.getUint16(this.at + 6, true) : this.view.getUint32(this.at + (hasVr ? 8 : 4), true);
    this.at += hasVr && !isShort ? 12 : 8;
    return { tag, length };
  }

  private skipSequence(): void {
    for (let depth = 1; depth > 0; ) {
      const { tag, length } = this.head();
      if (tag === SEQUENCE_END) depth -= 1;
      else if (length !== UNDEFINED_LENGTH) this.at += tag === 0xfffee000 ? 0 : length;
      else if (tag !== 0xfffee000) depth += 1;
      if (this.at > this.bytes.length) throw new RangeError("behind what was read");
    }
  }
}
