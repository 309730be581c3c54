const CALL = "this.gradientTexture = gradientGL({";

/**
 * Leaves out NiiVue's gradients, which only its lit rendering looks at and the page never turns on.
 *
 * NiiVue computes them with every scan and every change of the window, sixteen samples a voxel: seconds of a machine
 * without a graphics card, and half of the memory on any. No option of its own (0.69) turns them off.
 */
export function withoutGradients() {
  return {
    name: "without-gradients",
    transform(code, id) {
      if (!id.includes("@niivue/niivue")) return null;
      if (code.split(CALL).length !== 3) this.error("NiiVue computes gradients in another place than it used to");
      return { code: code.replaceAll(CALL, "if (this.opts.gradientAmount > 0) " + CALL), map: null };
    },
  };
}
