import { type Caller, newCallers } from './api.ts'

export const EMOJI = ['❤️', '🔥', '👍', '😂', '😮', '🎉'] as const

/** Alice, who has posted a story, and Bob, who reacts to it. */
export interface Scene {
  readonly alice: Caller
  readonly bob: Caller
  readonly story: string
  /** Makes so many more events, each a reaction unlike the one before. */
  make(count: number): Promise<void>
}

export async function openScene(url: string): Promise<Scene> {
  const [alice, bob] = (await newCallers(url, 'alice', 'bob')) as [Caller, Caller]
  const story = await alice.post()
  let made = 0
  const make = async (count: number) => {
    for (let i = 0; i < count; i++) await bob.react(story, EMOJI[made++ % EMOJI.length] as string)
  }
  return { alice, bob, story, make }
}
