import { h } from "../dom";
import { openSession } from "../server/http";
import { Problem } from "../server/problem";
import { t } from "../text";

let asking: Promise<void> | null = null;

/** Asks for a key, once however many requests have met a closed door, until the server takes one. */
export function askForKey(): Promise<void> {
  asking ??= dialog().finally(() => {
    asking = null;
  });
  return asking;
}

function dialog(): Promise<void> {
  return new Promise((resolve, reject) => {
    // Neither kept nor offered again: the key leaves this page once, for the server's own cookie.
    const key = h("input", { type: "password", id: "key", autocomplete: "off", required: true, "aria-describedby": "key-fault" });
    const fault = h("p", { id: "key-fault", role: "alert", class: "fault" });
    const later = h("button", { type: "button", id: "key-later" }, t("keyLater"));
    const form = h(
      "form",
      {},
      h("h2", { id: "key-heading" }, t("keyHeading")),
      h("p", {}, t("keyAsk")),
      h("label", { for: "key" }, t("keyLabel")),
      key,
      fault,
      h("p", { class: "buttons" }, h("button", { type: "submit", id: "key-enter", class: "primary" }, t("keyEnter")), later),
    );
    const box = h("dialog", { "aria-labelledby": "key-heading" }, form);
    const close = (): void => {
      box.close();
      box.remove();
    };
    const giveUp = (): void => {
      close();
      reject(new Problem("no-key", t("keyHeading"), t("keyNeeded"), 401));
    };
    later.addEventListener("click", giveUp);
    box.addEventListener("cancel", giveUp);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      openSession(key.value).then(
        (isTaken) => {
          if (!isTaken) {
            fault.textContent = t("keyWrong");
            key.select();
            return;
          }
          close();
          resolve();
        },
        (error: unknown) => {
          fault.textContent = error instanceof Problem && error.detail ? error.detail : t("problem.unreachable");
        },
      );
    });
    document.body.append(box);
    box.showModal();
  });
}
