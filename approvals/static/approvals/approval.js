/* An approval's page: when somebody else answered, the forms are of no use any more. The server refuses them anyway. */
(() => {
  "use strict";

  function settle() {
    if (!document.querySelector("[data-settled]")) return;
    document.querySelector(".ap-sides").classList.add("ap-settled");
    document.querySelectorAll("[data-while-pending]").forEach((element) => {
      element.hidden = true;
    });
  }

  document.addEventListener("live:shown", settle);
  settle();
})();
