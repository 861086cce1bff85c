const VARIATION_SELECTOR = '\ufe0f'

/** Variation selectors U+FE0F. Pickers send one after any character, but never a leading one or two in a row. */
const SELECTORS = /(?<!\u200d|\ufe0f|^)\ufe0f/gu

/** Characters that are shown as text, unless a selector or a skin tone follows. */
const SHOWN_AS_TEXT = /(?!\p{Emoji_Presentation})\p{Emoji}(?!\p{Emoji_Modifier})/gu

/** UTS #51 ED-27. */
const ONE_EMOJI = /^\p{RGI_Emoji}$/v

/**
 * An emoji in its fully-qualified form, as in Unicode's emoji-test.txt: `❤` → `❤️`, `👍️` → `👍`. Pickers send the same emoji
 * with different selectors; without this it would be counted as several.
 *
 * It knows the emoji of the Unicode version that Node was built with.
 *
 * @returns undefined where the text is not exactly one emoji
 */
export function fullyQualified(text: string): string | undefined {
  const emoji = text.replace(SELECTORS, '').replace(SHOWN_AS_TEXT, `$&${VARIATION_SELECTOR}`)
  return ONE_EMOJI.test(emoji) ? emoji : undefined
}
