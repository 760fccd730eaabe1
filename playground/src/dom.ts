// What the page is made of, found and made. Text becomes text nodes and nothing else: no HTML is ever parsed.

/** The element of an id, which the page has. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no #${id}.`);
  return found as E;
}

/** An element with a class and children. */
export function made<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A button that does something. */
export function button(text: string, className: string, action: () => void): HTMLButtonElement {
  const element = made("button", className, text);
  element.type = "button";
  element.addEventListener("click", action);
  return element;
}

/** Has a screen reader say something that others see happen. */
export function announce(text: string): void {
  byId("announcement").textContent = text;
}
