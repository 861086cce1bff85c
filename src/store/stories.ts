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

/** The story with its tallies; undefined where there is none. One that is not tallied yet is counted (0009_tallies.sql). */
export async function getStory(
  sql: Pool,
  id: string,
): Promise<{ story: Story; expired: boolean } | undefined> {
  const [row] = await sql<(Story & { expired: boolean })[]>`
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
           s.expires_at <= now() as expired
      from glimpse.stories s
     cross join lateral (
       select max(total) filter (where emoji = '')::float8 as views,
              json_object_agg(emoji, total order by total desc, emoji) filter (where emoji <> '') as reactions
         from glimpse.story_tallies where story_id = s.id
     ) t
     where s.id = ${id} and s.expires_at > '-infinity'`
  if (row === undefined) return undefined
  const { expired, ...story } = row
  return { story, expired }
}

/**
 * Removes a story. At once nobody can read it or write to it any more; the cleaner removes its views, its reactions and then
 * its row in portions, because a popular story has a million of them. The events they made stay in the log.
 *
 * A removed story is one that expired at `-infinity`: so the cleaner comes to it first. It has no tallies; one who would
 * change them at this moment waits for us, and then finds the story removed.
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
