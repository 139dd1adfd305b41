/**
 * The text without what of `characters` is at its end. A regular expression such as `/\/+$/` takes quadratic time where a long run of them
 * is within the text.
 */
export function withoutTrailing(text: string, characters: string): string {
  let end = text.length;
  while (end > 0 && characters.includes(text[end - 1] as string)) end--;
  return text.slice(0, end);
}
