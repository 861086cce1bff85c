import { byId, element } from './dom.js'

// As in console.css.
const narrow = matchMedia('(max-width: 760px)')

/** Whether the page is laid out for a phone. */
export function isNarrow() {
  return narrow.matches
}

/**
 * Shows one of several panels at a time where the page is narrow, by the tabs pattern of WAI-ARIA; where it is wide, all
 * of them and no tabs.
 * @param {string} listId
 * @param {{ title: string, section: HTMLElement }[]} panels
 */
export function tabs(listId, panels) {
  const list = byId(listId, HTMLElement)
  const buttons = panels.map(({ title, section }) =>
    element(
      'button',
      { type: 'button', role: 'tab', id: `${section.id}-tab`, 'aria-controls': section.id },
      title,
    ),
  )
  list.append(...buttons)
  let chosen = 0

  function show() {
    list.hidden = !isNarrow()
    for (const [i, { section }] of panels.entries()) {
      const selected = i === chosen
      buttons[i]?.setAttribute('aria-selected', String(selected))
      // One stop for Tab; the arrow keys go from one to the next.
      buttons[i]?.setAttribute('tabindex', selected ? '0' : '-1')
      section.hidden = isNarrow() && !selected
      if (isNarrow()) section.setAttribute('role', 'tabpanel')
      else section.removeAttribute('role')
    }
  }

  for (const [i, button] of buttons.entries()) {
    button.addEventListener('click', () => {
      chosen = i
      show()
    })
  }
  list.addEventListener('keydown', ({ key }) => {
    const step = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0
    if (step === 0) return
    chosen = (chosen + step + panels.length) % panels.length
    show()
    buttons[chosen]?.focus()
  })
  narrow.addEventListener('change', show)
  show()
}
