import { GlimpseProvider, useGlimpse } from 'glimpse-client/react'
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { post, tokenFor, url } from './service.js'

const author = new URLSearchParams(location.search).get('user') ?? 'alice'

/** Everybody who viewed a story of the author while this page is open. */
function Viewers() {
  const [viewers, setViewers] = useState([])
  const { state, unread, markRead } = useGlimpse('story.viewed', ({ data }) =>
    setViewers((before) => [...before, data.viewer_id]),
  )
  return (
    <>
      <p id="state">{state.name === 'waiting' ? state.reason : state.name}</p>
      <ol id="viewers">
        {viewers.map((viewer) => (
          <li key={viewer}>{viewer}</li>
        ))}
      </ol>
      <button id="unread" type="button" onClick={() => markRead()}>
        {unread} unread
      </button>
    </>
  )
}

/** Posts a story as the author and views it as somebody new, as your application would. */
function Somebody() {
  async function view() {
    const { id } = await post('/stories', { text: 'Fog over the harbour' }, await tokenFor(author))
    await post(`/stories/${id}/view`, {}, await tokenFor(`bob-${Date.now()}`))
  }
  return (
    <button id="view" type="button" onClick={view}>
      Bob views it
    </button>
  )
}

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <GlimpseProvider url={url} getToken={() => tokenFor(author)} share="tabs">
      <h1>Who views {author}'s stories</h1>
      <Viewers />
      <Somebody />
    </GlimpseProvider>
  </StrictMode>,
)
