import { boundedWait } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'

/** A story as the API shows it. Times are RFC 3339, UTC, milliseconds. */
export interface Story {
  readonly id: string
  readonly author_id: string
  readonly text: string | null
  readonly created_at: string
  readonly expires_at: string
  readonly views: number
  /** How many users chose each emoji. */
  readonly reactions: Readonly<Record<string, number>>
}

export interface NewStory {
  readonly id: string
  readonly authorId: string
  readonly text: string | null
  readonly expiresInSeconds: number
}

/** Stores a story; committed when this resolves. Undefined where its id is in use. */
export async function createStory(sql: Pool, story: NewStory): Promise<Story | undefined> {
  const [row] = await sql<Omit<Story, 'views' | 'reactions'>[]>`
    with ${boundedWait(sql)}
    insert into glimpse.stories (id, author_id, text, expires_at)
    select ${story.id}::uuid, ${story.authorId}::text, ${story.text},
           date_trunc('milliseconds', now()) + make_interval(secs => ${story.expiresInSeconds})
      from bounded
    on conflict (id) do nothing
    returning id, author_id, text, glimpse.rfc3339(created_at) as created_at, glimpse.rfc3339(expires_at) as expires_at`
  return row && { ...row, views: 0, reactions: {} }
}

/** What is stored under a story's id: nothing, this very story, or another one (or one that was removed). */
export async function lookForStory(sql: Pool, story: NewStory): Promise<'nothing' | 'same' | 'another'> {
  const [row] = await sql<{ same: boolean }[]>`
    select author_id = ${story.authorId} and text is not distinct from ${story.text}::text
           and expires_at - created_at = make_interval(secs => ${story.expiresInSeconds}) as same
      from glimpse.stories where id = ${story.id}`
  if (row === undefined) return 'nothing'
  return row.same ? 'same' : 'another'
}

/** Counting so many rows takes about as long as all the rest of reading a story. */
const TALLIED_FROM = 1000

/**
 * The story with its tallies; undefined where there is none. One that is not tallied is counted (0009_tallies.sql); if that
 * took long, tallying it goes a step on.
 */
export async function getStory(
  sql: Pool,
  id: string,
): Promise<{ story: Story; expired: boolean } | undefined> {
  const [row] = await sql<(Story & { expired: boolean; counted: boolean })[]>`
    select s.id, s.author_id, s.text,
           glimpse.rfc3339(s.created_at) as created_at, glimpse.rfc3339(s.expires_at) as expires_at,
           case when t.views is null
                then (select count(*)::float8 from glimpse.story_views v where v.story_id = s.id)
                else t.views end as views,
           case when t.views is null
                then (select coalesce(json_object_agg(emoji, total order by total desc, emoji), '{}')
                        from (select emoji, count(*) as total from glimpse.story_reactions r
                               where r.story_id = s.id group by emoji) as counted)
                else coalesce(t.reactions, '{}') end as reactions,
           s.expires_at <= now() as expired, t.views is null as counted
      from glimpse.stories s
     cross join lateral (
       select max(total) filter (where emoji = '' and awaiting is null)::float8 as views,
              json_object_agg(emoji, total order by total desc, emoji) filter (where emoji <> '') as reactions
         from glimpse.story_tallies where story_id = s.id
     ) t
     where s.id = ${id} and s.expires_at > '-infinity'`
  if (row === undefined) return undefined
  const { expired, counted, ...story } = row
  const reactions = Object.values(story.reactions).reduce((sum, total) => sum + total, 0)
  if (counted && !expired && Math.max(story.views, reactions) >= TALLIED_FROM) {
    // The story has been read. Whatever stands in the way of its tally, the next reader tries again.
    await sql`select glimpse.tally_story(${id})`.catch(() => {})
  }
  return { story, expired }
}

/** Of so many views one has its story looked at. */
const LOOKED_AT = 500

/**
 * Has stories tallied that many view and nobody reads: now and then one that was viewed is read, one at a time. Else the first
 * who read a story after a million views would count them all.
 */
export class StoryScout {
  readonly #sql: Pool
  readonly #random: () => number
  #looking = false

  /** @param random as Math.random, 0 to below 1 */
  constructor(sql: Pool, random: () => number = Math.random) {
    this.#sql = sql
    this.#random = random
  }

  /** Call it with the views of each statement. Returns at once, whatever comes of the look. */
  viewed(views: readonly { readonly storyId: string }[]): void {
    const view = views[Math.floor(this.#random() * Math.max(LOOKED_AT, views.length))]
    if (view === undefined || this.#looking) return
    this.#looking = true
    getStory(this.#sql, view.storyId)
      .catch(() => {})
      .finally(() => {
        this.#looking = false
      })
  }
}

/**
 * Removes a story. At once nobody can read it or write to it any more; the cleaner removes its views, its reactions and then
 * its row in portions, because a popular story has a million of them. The events they made stay in the log.
 *
 * A removed story is one that expired at `-infinity`: so the cleaner comes to it first. It has no tallies. Whoever is recording
 * a view at this moment does so before the removal.
 */
export async function deleteStory(
  sql: Pool,
  id: string,
  callerId: string,
): Promise<'removed' | 'unknown_story' | 'forbidden'> {
  const [story] = await sql<{ author_id: string }[]>`
    with ${boundedWait(sql)},
    removed as (
      update glimpse.stories set expires_at = '-infinity' from bounded
       where id = ${id} and author_id = ${callerId} and expires_at > '-infinity'
      returning id
    ),
    views as materialized (
      select t.story_id from glimpse.story_tallies t join removed r on r.id = t.story_id where t.emoji = '' for update of t
    ),
    untallied as (
      delete from glimpse.story_tallies t using views v where t.story_id = v.story_id
    )
    select author_id from glimpse.stories where id = ${id} and expires_at > '-infinity'`
  if (story === undefined) return 'unknown_story'
  return story.author_id === callerId ? 'removed' : 'forbidden'
}
