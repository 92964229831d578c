// Lets the editor's own style sheets through the Content-Security-Policy.
// Monaco and React's components write <style> elements and know no nonce; the page has one that is good for itself alone.
const { nonce } = document.querySelector('meta[property=csp-nonce]');
const createElement = Document.prototype.createElement;

Document.prototype.createElement = function (name, ...options) {
  const element = createElement.call(this, name, ...options);
  if (String(name).toLowerCase() === 'style') element.nonce = nonce;
  return element;
};
