// The secret of the link comes behind the '#', which no server sees. It goes into the form, and out of the address.
"use strict";
const field = document.getElementById("link");
function take() {
  if (location.hash.length < 2) return;
  field.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  field.hidden = true;
  document.getElementById("ready").hidden = false;
  for (const line of document.querySelectorAll(".how")) line.hidden = true;
  document.querySelector("button").focus();
}
addEventListener("hashchange", take); // the link was opened where the form was open already
take();
