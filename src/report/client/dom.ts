/** What an element gets besides its children. Text is set as text, never as markup. */
interface Attributes {
  readonly class?: string;
  readonly text?: string;
  readonly [name: string]: string | undefined;
}

/** Makes an element. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  { class: className, text, ...others }: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className !== undefined) element.className = className;
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(others)) if (value !== undefined) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The element of the page with an id. */
export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}
