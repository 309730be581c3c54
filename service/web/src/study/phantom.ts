import { type Volume, write } from "../scan/nifti";
import type { StudyFile } from "./files";

/** Built-in studies, so that the page can be tried without any patient's data. They are drawn here, each time anew. */

interface Solid {
  readonly hu: number;
  /** mm from the middle of the volume, towards the patient's left, back and head. */
  readonly at: readonly [number, number, number];
  /** Semi-axes in mm. */
  readonly semi: readonly [number, number, number];
}

interface Scene {
  readonly slices: number;
  readonly sliceMm: number;
  readonly pixelMm: number;
  readonly noiseHu: number;
  /** Later ones lie over earlier ones. */
  readonly solids: readonly Solid[];
}

const SIDE = 256;
const AIR_HU = -1000;
const TALL = 1000;

const HEAD: Scene = {
  slices: 32,
  sliceMm: 5,
  pixelMm: 0.9,
  noiseHu: 3,
  solids: [
    { hu: 40, at: [0, 0, -26], semi: [79, 97, 100] },
    { hu: -80, at: [0, 0, -26], semi: [77, 95, 98] },
    { hu: 40, at: [0, 0, -26], semi: [75, 93, 96] },
    { hu: 1100, at: [0, 0, -26], semi: [73, 91, 94] },
    { hu: 500, at: [0, 0, -26], semi: [71, 89, 92] },
    { hu: 1100, at: [0, 0, -26], semi: [69, 87, 90] },
    { hu: 8, at: [0, 0, -26], semi: [67, 85, 88] },
    { hu: 36, at: [0, 0, -26], semi: [65, 83, 86] },
    { hu: 29, at: [28, 0, 0], semi: [26, 58, 48] },
    { hu: 29, at: [-28, 0, 0], semi: [26, 58, 48] },
    { hu: 8, at: [9, -12, 8], semi: [5, 24, 14] },
    { hu: 8, at: [-9, -12, 8], semi: [5, 24, 14] },
    { hu: 36, at: [17, 6, 2], semi: [8, 16, 12] },
    { hu: 36, at: [-17, 6, 2], semi: [8, 16, 12] },
    { hu: 30, at: [30, 6, 6], semi: [20, 26, 20] },
    { hu: 72, at: [30, 6, 6], semi: [15, 21, 15] },
  ],
};

const ABDOMEN: Scene = {
  slices: 40,
  sliceMm: 5,
  pixelMm: 1.4,
  noiseHu: 9,
  solids: [
    { hu: -100, at: [0, 0, 0], semi: [165, 118, TALL] },
    { hu: 60, at: [0, 0, 0], semi: [150, 103, TALL] },
    { hu: -95, at: [0, -6, 0], semi: [132, 84, TALL] },
    { hu: 55, at: [0, 62, 0], semi: [62, 36, TALL] },
    { hu: 260, at: [0, 52, 0], semi: [23, 18, TALL] },
    { hu: 30, at: [0, 78, 0], semi: [9, 8, TALL] },
    { hu: 190, at: [14, 24, 0], semi: [10, 10, TALL] },
    { hu: 150, at: [-18, 22, 0], semi: [12, 9, TALL] },
    { hu: 30, at: [58, -34, 10], semi: [46, 34, 60] },
    { hu: AIR_HU, at: [58, -52, 10], semi: [30, 12, 45] },
    { hu: 122, at: [104, 34, 12], semi: [22, 36, 46] },
    { hu: 112, at: [-70, -8, 12], semi: [60, 71, 74] },
    { hu: 112, at: [-14, -44, 24], semi: [52, 30, 42] },
    { hu: 165, at: [-56, 4, 14], semi: [5, 5, 46] },
    { hu: 165, at: [-40, -24, 20], semi: [14, 4, 5] },
    { hu: 62, at: [-86, -22, 16], semi: [20, 19, 20] },
    { hu: 64, at: [-46, -46, -8], semi: [10, 10, 11] },
    { hu: 185, at: [64, 44, -62], semi: [26, 28, 48] },
    { hu: 185, at: [-64, 50, -72], semi: [25, 27, 46] },
  ],
};

const SCENES: Readonly<Record<string, Scene>> = { hemorrhage: HEAD, liver: ABDOMEN };

export const hasPhantom = (task: string): boolean => task in SCENES;

/** The phantom for a task, as the NIfTI file that a person would have dropped. */
export async function phantom(task: string, name: string): Promise<StudyFile> {
  const scene = SCENES[task];
  if (!scene) throw new RangeError(`no phantom for ${task}`);
  const stream = write(volume(scene)).stream().pipeThrough(new CompressionStream("gzip"));
  const file = new File([await new Response(stream).blob()], name, { type: "application/x-nifti" });
  return { file, name };
}

/** Columns run to the patient's left, rows to the back, slices to the head. */
function volume(scene: Scene): Volume {
  const { slices, sliceMm, pixelMm } = scene;
  const half = (SIDE - 1) / 2;
  return {
    voxels: voxels(scene),
    shape: [SIDE, SIDE, slices],
    spacing: [pixelMm, pixelMm, sliceMm],
    affine: [
      [-pixelMm, 0, 0, half * pixelMm],
      [0, -pixelMm, 0, half * pixelMm],
      [0, 0, sliceMm, (-(slices - 1) / 2) * sliceMm],
    ],
  };
}

/** CT numbers, columns fastest: to the patient's left, then rows to the back, then slices to the head. */
function voxels({ slices, sliceMm, pixelMm, noiseHu, solids }: Scene): Int16Array<ArrayBuffer> {
  const found = new Int16Array(slices * SIDE * SIDE);
  const noise = noiseOf(noiseHu);
  let at = 0;
  for (let slice = 0; slice < slices; slice += 1) {
    const up = (slice - (slices - 1) / 2) * sliceMm;
    const near = solids.filter(({ at: middle, semi }) => Math.abs(up - middle[2]) <= semi[2]).reverse();
    for (let row = 0; row < SIDE; row += 1) {
      const back = (row - (SIDE - 1) / 2) * pixelMm;
      const crossed = near.filter(({ at: middle, semi }) => Math.abs(back - middle[1]) <= semi[1]);
      for (let column = 0; column < SIDE; column += 1, at += 1) {
        const left = (column - (SIDE - 1) / 2) * pixelMm;
        const hu = crossed.find((solid) => isIn(solid, left, back, up))?.hu ?? AIR_HU;
        found[at] = Math.round(hu === AIR_HU ? hu : hu + noise());
      }
    }
  }
  return found;
}

const isIn = ({ at, semi }: Solid, left: number, back: number, up: number): boolean =>
  ((left - at[0]) / semi[0]) ** 2 + ((back - at[1]) / semi[1]) ** 2 + ((up - at[2]) / semi[2]) ** 2 <= 1;

/** Nearly normal noise from a fixed seed: the same phantom each time, so that the same answer is kept for it. */
function noiseOf(sd: number): () => number {
  let seed = 20261125;
  const even = (): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  return () => (even() + even() + even() + even() - 2) * sd * Math.sqrt(3);
}

