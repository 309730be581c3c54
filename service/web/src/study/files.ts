/** A file of a study under its path in the folder that it came from. */
export interface StudyFile {
  readonly file: File;
  readonly name: string;
}

/** All files of a drop, folders walked. It must be called before the event's handler returns: its items go with it. */
export function filesOfDrop(transfer: DataTransfer): Promise<StudyFile[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (!entries.length) return Promise.resolve(filesOfList(transfer.files));
  return Promise.all(entries.map(walk)).then((found) => found.flat());
}

export function filesOfList(list: Iterable<File>): StudyFile[] {
  return [...list].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
}

async function walk(entry: FileSystemEntry): Promise<StudyFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ file, name: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: StudyFile[] = [];
  // A folder is read in parts of a hundred; the first empty one is its end.
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return found;
    for (const child of part) found.push(...(await walk(child)));
  }
}

export const sizeOf = (files: readonly StudyFile[]): number => files.reduce((sum, { file }) => sum + file.size, 0);

/** Whether they look like a picture, of which the server cannot know how large its pixels are. */
export const isPicture = (files: readonly StudyFile[]): boolean =>
  files.length === 1 && /\.(png|jpe?g)$/i.test(files[0]?.name ?? "");
