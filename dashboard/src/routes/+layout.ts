// The dashboard is one static page that runs in the browser; there is no server to render it.
export const ssr = false;
export const prerender = false;
export const trailingSlash = 'never';
